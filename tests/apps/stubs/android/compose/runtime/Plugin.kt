// androidx.compose.runtime as the Compose compiler plugin calls it. Signatures only: bodies never run.
//
// [restricted] androidx/androidx compose/runtime/runtime/api/restricted_1.7.0-beta03.txt
// [version] androidx/androidx compose/runtime/runtime/src/commonMain/kotlin/androidx/compose/runtime/ComposeVersion.kt @ 9db3602f89a6bd54872015d5b5bd236cae216619
@file:JvmName("ComposerKt")
@file:JvmMultifileClass
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.runtime

val currentComposer: Composer // [restricted]
    @ReadOnlyComposable
    @Composable
    get() = TODO()

interface Composer { // [restricted]
    val skipping: Boolean // [restricted]

    val defaultsInvalid: Boolean // [restricted]

    fun startReplaceGroup(key: Int) // [restricted]

    fun endReplaceGroup() // [restricted]

    fun startReplaceableGroup(key: Int) // [restricted]

    fun endReplaceableGroup() // [restricted]

    fun startMovableGroup(key: Int, dataKey: Any?) // [restricted]

    fun endMovableGroup() // [restricted]

    fun startDefaults() // [restricted]

    fun endDefaults() // [restricted]

    fun startRestartGroup(key: Int): Composer // [restricted]

    fun endRestartGroup(): ScopeUpdateScope? // [restricted]

    fun skipToGroupEnd() // [restricted]

    fun skipCurrentGroup() // [restricted]

    fun endToMarker(marker: Int) // [restricted]

    fun joinKey(left: Any?, right: Any?): Any // [restricted]

    fun rememberedValue(): Any? // [restricted]

    fun updateRememberedValue(value: Any?) // [restricted]

    fun changed(value: Any?): Boolean // [restricted]

    fun changed(value: Boolean): Boolean // [restricted]

    fun changed(value: Char): Boolean // [restricted]

    fun changed(value: Byte): Boolean // [restricted]

    fun changed(value: Short): Boolean // [restricted]

    fun changed(value: Int): Boolean // [restricted]

    fun changed(value: Float): Boolean // [restricted]

    fun changed(value: Long): Boolean // [restricted]

    fun changed(value: Double): Boolean // [restricted]

    fun changedInstance(value: Any?): Boolean // [restricted]

    fun sourceInformation(sourceInformation: String) // [restricted]

    fun sourceInformationMarkerStart(key: Int, sourceInformation: String) // [restricted]

    fun sourceInformationMarkerEnd() // [restricted]

    companion object { // [restricted]
        val Empty: Any = TODO() // [restricted]
    }
}

interface ScopeUpdateScope { // [restricted]
    fun updateScope(block: (Composer, Int) -> Unit) // [restricted]
}

inline fun <T> Composer.cache(invalid: Boolean, block: () -> T): T = TODO() // [restricted]

fun isTraceInProgress(): Boolean = TODO() // [restricted]

fun traceEventStart(key: Int, dirty1: Int, dirty2: Int, info: String): Unit = TODO() // [restricted]

fun traceEventEnd(): Unit = TODO() // [restricted]

fun sourceInformation(composer: Composer, sourceInformation: String): Unit = TODO() // [restricted]

fun sourceInformationMarkerStart(composer: Composer, key: Int, sourceInformation: String): Unit = TODO() // [restricted]

fun sourceInformationMarkerEnd(composer: Composer): Unit = TODO() // [restricted]

fun updateChangedFlags(flags: Int): Int = TODO() // [restricted]

object ComposeVersion { // [version]
    const val version: Int = 12_100 // [version]
}
