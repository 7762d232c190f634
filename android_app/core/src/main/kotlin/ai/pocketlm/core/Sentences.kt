// What the core says to a person, by key: a sentence on what happened and one on what to do. The sentences of the ports
// of chat/ stand with their code. tests/vectors/sentences.json holds this table and Swift's together.
package ai.pocketlm.core

/** A sentence's key and its English text with `{places}`. */
enum class SentenceKey(val template: String) {
    // Installing.
    NOT_A_PACKAGE_FILE("{name} is not a package. Choose a zip that pocketlm export made."),
    NOT_A_PACKAGE_FOLDER(
        "{name} holds no manifest.json, so it is not a package. Choose the folder that manifest.json and model.pte " +
            "lie in.",
    ),
    PROGRAM_ALONE(
        "{name} is a program alone. A package also has a tokenizer and manifest.json: choose its whole folder or zip.",
    ),
    ZIP_IN_FOLDER("In the zip manifest.json lies in the folder {folder}. Zip the files themselves, not their folder."),
    ZIP_DAMAGED("{name} is damaged or was cut off. Download or copy it again."),
    ZIP_ENTRY_LEAVES("The zip holds the entry {entry}, which leaves the package. Do not trust this file."),
    ZIP_ENTRY_LINK("The zip holds the entry {entry}, which is a link or device. Do not trust this file."),
    ZIP_ENTRY_TWICE("The zip holds the entry {entry} more than once. Do not trust this file."),
    ZIP_ENTRY_ENCRYPTED("The zip holds the encrypted entry {entry}. Unpack it with its password first."),
    ZIP_ENTRY_COMPRESSION("The zip holds the entry {entry} in an uncommon compression. Zip it stored or deflated."),
    ZIP_TOO_MANY_ENTRIES("The zip has {count} entries and a package at most {most}. Do not trust this file."),
    ZIP_BOMB("The zip of {packed} would grow to {total}, more than 100 times. Do not trust this file."),
    NEWER_SCHEMA("This package needs a newer pocketlm: schema {found}, this app reads {known}. Update the app."),
    MANIFEST_INVALID("The package's manifest cannot be used: {reason}. Copy the package again, or export it again."),
    OTHER_RUNNER("This package needs the runner {kind}, which this app does not have. Export it for another target."),
    NEEDS_CORE_ML(
        "This package is for Core ML ({target}), which only Apple's devices have. Export it with --target xnnpack.",
    ),
    NEWER_RUNTIME("This package needs ExecuTorch {needed} and this app has {present}. Update the app."),
    FILE_MISSING("{file} is missing from the package. Copy the package again."),
    FILE_SIZE("{file} has {found} bytes and the manifest says {wanted}. Copy the package again."),
    FILE_DAMAGED("{file} is damaged: its sha256 is not the one in the manifest. Copy the package again."),
    TOKENIZER_MISMATCH(
        "The tokenizer does not have {token} as id {id}, as the manifest says. Export the package again.",
    ),
    NO_SPACE("Installing needs {needed} and {free} are free. Free {missing} more, then try again."),
    INSTALL_STOPPED("The installation was stopped. Start it again to go on where it ended."),
    SOURCE_UNREADABLE("{name} cannot be read: {reason}. Choose it again."),
    STORAGE_FAILED("The storage failed: {reason}. Check it and try again."),
    REMOVAL_FAILED("{name} cannot be removed: {reason}. Close its chat and try again."),
    // Downloading.
    URL_NOT_HTTPS("{url} is not an https address. Give one that begins with https:// and leads to a zip."),
    DOWNLOAD_FORBIDDEN(
        "{host} does not allow this download (status {status}). Check the address, or sign in and copy a direct link.",
    ),
    DOWNLOAD_NOT_FOUND("{host} has nothing at this address (status {status}). Check the address."),
    DOWNLOAD_SERVER_ERROR(
        "{host} cannot serve the file now (status {status}). Try again later; what was received is kept.",
    ),
    DOWNLOAD_REFUSED("{host} answered with status {status}. Check the address."),
    DOWNLOAD_NOT_A_ZIP(
        "The address leads to a web page or another file, not to a zip. Copy the link of the file itself.",
    ),
    DOWNLOAD_NO_SPACE("The download needs {needed} and {free} are free. Free {missing} more, then try again."),
    DOWNLOAD_TOO_LONG("{host} sent more than the {wanted} bytes that it announced. Download it again."),
    DOWNLOAD_PAUSED("The connection ended after {done}. Go on when there is a network; what was received is kept."),
    // Memory.
    MEMORY_TIGHT(
        "This package needs about {needed} and {available} are free. Close other apps first; the system may end this " +
            "one.",
    ),
    MEMORY_TOO_LARGE(
        "This package needs about {needed} and this device gives an app at most {most}. Export it with a smaller " +
            "--max-context, or take a smaller model.",
    ),
    // The runtime's errors: codes of ExecuTorch 1.5.1, runtime/core/error.h.
    ENGINE_INTERNAL(
        "The runtime failed inside itself (error {code}). Load the package again; if it fails again, run the " +
            "self-test and report it.",
    ),
    ENGINE_INVALID_STATE("The runtime was called in the wrong state (error {code}). Load the package again."),
    ENGINE_END_OF_METHOD("The runtime ended its method early (error {code}). Load the package again."),
    ENGINE_ALREADY_LOADED("The package is loaded already (error {code}). Close the chat and open it again."),
    ENGINE_NOT_SUPPORTED(
        "This build of the runtime does not support what the package asks for (error {code}). Use an app with a " +
            "newer ExecuTorch, or export for another target.",
    ),
    ENGINE_NOT_IMPLEMENTED(
        "The runtime has not implemented what the package asks for (error {code}). Export it for another target.",
    ),
    ENGINE_INVALID_ARGUMENT(
        "The runtime refused what it was given (error {code}). Start a new chat; if it fails again, export the " +
            "package again.",
    ),
    ENGINE_INVALID_TYPE(
        "The program takes values of another type (error {code}). Export the package with this app's version of " +
            "pocketlm.",
    ),
    ENGINE_OPERATOR_MISSING(
        "The app lacks an operator that the program uses (error {code}). Link the kernels named in the README, or " +
            "export with the recipe 8da4w-g32.",
    ),
    ENGINE_TOO_MANY_KERNELS(
        "The app registers more kernels than the runtime holds (error {code}). Link fewer kernel libraries.",
    ),
    ENGINE_KERNEL_TWICE("The app registers a kernel twice (error {code}). Link each kernel library once."),
    ENGINE_NOT_FOUND("The runtime cannot find a method or file (error {code}). Install the package again."),
    ENGINE_MEMORY(
        "There is not enough memory for the model (error {code}). Close other apps, or take a package with a smaller " +
            "context.",
    ),
    ENGINE_ACCESS("The runtime cannot read the package's files (error {code}). Install the package again."),
    ENGINE_INVALID_PROGRAM(
        "The program is damaged or made for another runtime (error {code}). Install the package again, or export it " +
            "with this app's version of pocketlm.",
    ),
    ENGINE_EXTERNAL_DATA("The program's data file is damaged or missing (error {code}). Install the package again."),
    ENGINE_RESOURCES(
        "The device has no resources left for the model (error {code}). Close other apps and load it again.",
    ),
    ENGINE_DELEGATE_VERSION(
        "The app's backend is older or newer than the program (error {code}). Update the app, or export the package " +
            "with its version of pocketlm.",
    ),
    ENGINE_DELEGATE_MEMORY(
        "The backend has not enough memory for the model (error {code}). Close other apps, or take a package with a " +
            "smaller context.",
    ),
    ENGINE_DELEGATE_HANDLE("The backend lost its model (error {code}). Load the package again."),
    ENGINE_UNKNOWN(
        "The runtime failed with error {code}, which this app does not know. Load the package again; if it fails " +
            "again, report the number.",
    ),
    ENGINE_FAILED("The runtime failed: {reason}. Load the package again."),
    // Chatting.
    FORGOTTEN_ONE("The model no longer sees the first turn above."),
    FORGOTTEN_MANY("The model no longer sees the first {count} turns above."),
    UNLOADED_MEMORY("The model was let go because memory ran short. The chat is saved; load it again to go on."),
    UNLOADED_BACKGROUND("The model was let go while the app was in the background. It is loaded again now."),
    UNLOADED_THERMAL("The model was let go because the device is too hot. Let it cool, then load it again."),
    HISTORY_DAMAGED("The saved chat cannot be read: {reason}. A new chat begins; the old file is kept as {file}."),
    COMPLETION_ONLY("This package has no chat format: it continues what you type."),
    COUNTS_ARE_BOUNDS("This runner does not count tokens before it runs, so a bounded chat may end a little early."),
    // Self-test and benchmark.
    SELF_TEST_PASSED(
        "The self-test passed: all {compared} compared steps are as on the machine that made the package.",
    ),
    SELF_TEST_PASSED_LATER(
        "The self-test passed: all {compared} compared steps are as on the machine that made the package. Step " +
            "{step} differs, where processors may round differently.",
    ),
    SELF_TEST_FAILED_IDS(
        "The self-test failed: step {step} gave id {found} in place of {wanted}. Install the package again; if it " +
            "fails again, report it.",
    ),
    SELF_TEST_FAILED_TEXT(
        "The self-test failed: the text begins with " +
            "'{found}' in place of '{wanted}'. Install the package again; if it fails again, report it.",
    ),
    SELF_TEST_SHORT(
        "The self-test failed: the model stopped after {found} of {wanted} steps. Install the package again; if it " +
            "fails again, report it.",
    ),
    SELF_TEST_UNSURE("This model is too unsure of its self-test to be compared. Judge it by its replies."),
    BENCHMARK_STOPPED("The benchmark was stopped after {done} of {total} runs. The figures so far are kept."),
    ;

    /** The key as the vectors and the other platform spell it: `notAPackageFile`. */
    val key: String = name.split('_').joinToString("") { it[0] + it.substring(1).lowercase() }.decapitalised()

    /** The names in braces, each once. */
    val places: Set<String> = PLACE.findAll(template).map { it.groupValues[1] }.toSet()
}

/** Fills sentences in. */
object Sentences {
    /** The sentence with its places filled in, in one pass: braces in an argument stay what they are. */
    fun fill(key: SentenceKey, vararg arguments: Pair<String, Any>): String {
        val given = arguments.toMap()
        require(given.keys == key.places) { "${key.key} has the places ${key.places}, not ${given.keys}" }
        return PLACE.replace(key.template) { given.getValue(it.groupValues[1]).toString() }
    }

    /** Bytes as people read them: decimal units, one decimal, rounded half up in whole numbers. */
    fun size(bytes: Long): String {
        if (bytes < 1000) return if (bytes == 1L) "1 byte" else "$bytes bytes"
        var unit = 1000L
        for (name in UNITS) {
            val tenths = bytes / unit * 10 + (bytes % unit * 10 + unit / 2) / unit
            if (tenths < 10_000 || name == UNITS.last()) return "${tenths / 10}.${tenths % 10} $name"
            unit *= 1000
        }
        error("the last unit takes everything")
    }

    /** A note or error of the ports of chat/ as the screen shows it: a capital letter first, a full stop last. */
    fun asSentence(text: String): String {
        if (text.isEmpty()) return ""
        val first = if (text[0] in 'a'..'z') text[0].uppercaseChar() else text[0]
        return first + text.substring(1) + if (text.last() in ".!?") "" else "."
    }
}

/** The refusal of a key. */
fun refusal(key: SentenceKey, vararg arguments: Pair<String, Any>): Refusal =
    Refusal(key, Sentences.fill(key, *arguments))

private val PLACE = Regex("\\{([a-z]+)\\}")
private val UNITS = listOf("kB", "MB", "GB", "TB")

private fun String.decapitalised(): String = this[0].lowercaseChar() + substring(1)
