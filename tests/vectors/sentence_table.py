"""What the apps' cores say to a person, by key: a sentence on what happened and one on what to do. Data, no code.

Places in braces are filled in by `fill` of sentence_cases.py. Sizes are spelled by its `size` before. The sentences of
chat/ are not here: Kotlin and Swift repeat them with the code.
"""

INSTALL = {
    "notAPackageFile": "{name} is not a package. Choose a zip that pocketlm export made.",
    "notAPackageFolder": "{name} holds no manifest.json, so it is not a package. Choose the folder that "
    "manifest.json and model.pte lie in.",
    "programAlone": "{name} is a program alone. A package also has a tokenizer and manifest.json: choose its whole "
    "folder or zip.",
    "zipInFolder": "In the zip manifest.json lies in the folder {folder}. Zip the files themselves, not their folder.",
    "zipDamaged": "{name} is damaged or was cut off. Download or copy it again.",
    "zipEntryLeaves": "The zip holds the entry {entry}, which leaves the package. Do not trust this file.",
    "zipEntryLink": "The zip holds the entry {entry}, which is a link or device. Do not trust this file.",
    "zipEntryTwice": "The zip holds the entry {entry} more than once. Do not trust this file.",
    "zipEntryEncrypted": "The zip holds the encrypted entry {entry}. Unpack it with its password first.",
    "zipEntryCompression": "The zip holds the entry {entry} in an uncommon compression. Zip it stored or deflated.",
    "zipTooManyEntries": "The zip has {count} entries and a package at most {most}. Do not trust this file.",
    "zipBomb": "The zip of {packed} would grow to {total}, more than 100 times. Do not trust this file.",
    "newerSchema": "This package needs a newer pocketlm: schema {found}, this app reads {known}. Update the app.",
    "manifestInvalid": "The package's manifest cannot be used: {reason}. Copy the package again, or export it again.",
    "otherRunner": "This package needs the runner {kind}, which this app does not have. Export it for another target.",
    "needsCoreMl": "This package is for Core ML ({target}), which only Apple's devices have. Export it with "
    "--target xnnpack.",
    "newerRuntime": "This package needs ExecuTorch {needed} and this app has {present}. Update the app.",
    "fileMissing": "{file} is missing from the package. Copy the package again.",
    "fileSize": "{file} has {found} bytes and the manifest says {wanted}. Copy the package again.",
    "fileDamaged": "{file} is damaged: its sha256 is not the one in the manifest. Copy the package again.",
    "tokenizerMismatch": "The tokenizer does not have {token} as id {id}, as the manifest says. Export the package "
    "again.",
    "noSpace": "Installing needs {needed} and {free} are free. Free {missing} more, then try again.",
    "installStopped": "The installation was stopped. Start it again to go on where it ended.",
    "sourceUnreadable": "{name} cannot be read: {reason}. Choose it again.",
    "storageFailed": "The storage failed: {reason}. Check it and try again.",
    "removalFailed": "{name} cannot be removed: {reason}. Close its chat and try again.",
}
DOWNLOAD = {
    "urlNotHttps": "{url} is not an https address. Give one that begins with https:// and leads to a zip.",
    "downloadForbidden": "{host} does not allow this download (status {status}). Check the address, or sign in and "
    "copy a direct link.",
    "downloadNotFound": "{host} has nothing at this address (status {status}). Check the address.",
    "downloadServerError": "{host} cannot serve the file now (status {status}). Try again later; what was received is "
    "kept.",
    "downloadRefused": "{host} answered with status {status}. Check the address.",
    "downloadNotAZip": "The address leads to a web page or another file, not to a zip. Copy the link of the file "
    "itself.",
    "downloadNoSpace": "The download needs {needed} and {free} are free. Free {missing} more, then try again.",
    "downloadTooLong": "{host} sent more than the {wanted} bytes that it announced. Download it again.",
    "downloadPaused": "The connection ended after {done}. Go on when there is a network; what was received is kept.",
}
MEMORY = {
    "memoryTight": "This package needs about {needed} and {available} are free. Close other apps first; the system "
    "may end this one.",
    "memoryTooLarge": "This package needs about {needed} and this device gives an app at most {most}. Export it with "
    "a smaller --max-context, or take a smaller model.",
}
# Codes of ExecuTorch 1.5.1, runtime/core/error.h; `engineUnknown` is any other.
ENGINE = {
    "engineInternal": "The runtime failed inside itself (error {code}). Load the package again; if it fails again, "
    "run the self-test and report it.",
    "engineInvalidState": "The runtime was called in the wrong state (error {code}). Load the package again.",
    "engineEndOfMethod": "The runtime ended its method early (error {code}). Load the package again.",
    "engineAlreadyLoaded": "The package is loaded already (error {code}). Close the chat and open it again.",
    "engineNotSupported": "This build of the runtime does not support what the package asks for (error {code}). Use "
    "an app with a newer ExecuTorch, or export for another target.",
    "engineNotImplemented": "The runtime has not implemented what the package asks for (error {code}). Export it for "
    "another target.",
    "engineInvalidArgument": "The runtime refused what it was given (error {code}). Start a new chat; if it fails "
    "again, export the package again.",
    "engineInvalidType": "The program takes values of another type (error {code}). Export the package with this app's "
    "version of pocketlm.",
    "engineOperatorMissing": "The app lacks an operator that the program uses (error {code}). Link the kernels named "
    "in the README, or export with the recipe 8da4w-g32.",
    "engineTooManyKernels": "The app registers more kernels than the runtime holds (error {code}). Link fewer kernel "
    "libraries.",
    "engineKernelTwice": "The app registers a kernel twice (error {code}). Link each kernel library once.",
    "engineNotFound": "The runtime cannot find a method or file (error {code}). Install the package again.",
    "engineMemory": "There is not enough memory for the model (error {code}). Close other apps, or take a package with "
    "a smaller context.",
    "engineAccess": "The runtime cannot read the package's files (error {code}). Install the package again.",
    "engineInvalidProgram": "The program is damaged or made for another runtime (error {code}). Install the package "
    "again, or export it with this app's version of pocketlm.",
    "engineExternalData": "The program's data file is damaged or missing (error {code}). Install the package again.",
    "engineResources": "The device has no resources left for the model (error {code}). Close other apps and load it "
    "again.",
    "engineDelegateVersion": "The app's backend is older or newer than the program (error {code}). Update the app, or "
    "export the package with its version of pocketlm.",
    "engineDelegateMemory": "The backend has not enough memory for the model (error {code}). Close other apps, or take "
    "a package with a smaller context.",
    "engineDelegateHandle": "The backend lost its model (error {code}). Load the package again.",
    "engineUnknown": "The runtime failed with error {code}, which this app does not know. Load the package again; if "
    "it fails again, report the number.",
    "engineFailed": "The runtime failed: {reason}. Load the package again.",
}
CHAT = {
    "forgottenOne": "The model no longer sees the first turn above.",
    "forgottenMany": "The model no longer sees the first {count} turns above.",
    "unloadedMemory": "The model was let go because memory ran short. The chat is saved; load it again to go on.",
    "unloadedBackground": "The model was let go while the app was in the background. It is loaded again now.",
    "unloadedThermal": "The model was let go because the device is too hot. Let it cool, then load it again.",
    "historyDamaged": "The saved chat cannot be read: {reason}. A new chat begins; the old file is kept as {file}.",
    "completionOnly": "This package has no chat format: it continues what you type.",
    "countsAreBounds": "This runner does not count tokens before it runs, so a bounded chat may end a little early.",
}
MEASURE = {
    "selfTestPassed": "The self-test passed: all {compared} compared steps are as on the machine that made the "
    "package.",
    "selfTestPassedLater": "The self-test passed: all {compared} compared steps are as on the machine that made the "
    "package. Step {step} differs, where processors may round differently.",
    "selfTestFailedIds": "The self-test failed: step {step} gave id {found} in place of {wanted}. Install the package "
    "again; if it fails again, report it.",
    "selfTestFailedText": "The self-test failed: the text begins with '{found}' in place of '{wanted}'. Install the "
    "package again; if it fails again, report it.",
    "selfTestShort": "The self-test failed: the model stopped after {found} of {wanted} steps. Install the package "
    "again; if it fails again, report it.",
    "selfTestUnsure": "This model is too unsure of its self-test to be compared. Judge it by its replies.",
    "benchmarkStopped": "The benchmark was stopped after {done} of {total} runs. The figures so far are kept.",
}
TABLE: dict[str, str] = INSTALL | DOWNLOAD | MEMORY | ENGINE | CHAT | MEASURE

# For the vectors: what stands in each place.
EXAMPLES: dict[str, str] = {
    "available": "1.1 GB",
    "code": "32",
    "compared": "32",
    "count": "1200",
    "done": "12.5 MB",
    "entry": "../escape.txt",
    "file": "model.pte",
    "folder": "package",
    "found": "2",
    "free": "1.0 GB",
    "host": "example.org",
    "id": "5",
    "kind": "static-kv",
    "known": "1",
    "missing": "200.0 MB",
    "most": "1000",
    "name": "package.zip",
    "needed": "1.2 GB",
    "packed": "10.0 kB",
    "present": "1.4.1",
    "reason": "chunk is 8.0; it must be a whole number",
    "status": "403",
    "step": "7",
    "target": "coreml-ane",
    "token": "<|eot|>",
    "total": "3.0 MB",
    "url": "http://example.org/package.zip",
    "wanted": "4096",
}
