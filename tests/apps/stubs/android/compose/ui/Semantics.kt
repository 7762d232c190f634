// androidx.compose.ui.semantics: what TalkBack is told. Signatures only: bodies never run.
//
// [ui] androidx/androidx compose/ui/ui/api/1.7.0-beta07.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.ui.semantics

import androidx.compose.ui.Modifier

interface SemanticsPropertyReceiver // [ui]

@JvmInline
value class LiveRegionMode private constructor(private val value: Int) { // [ui]
    companion object { // [ui]
        val Polite: LiveRegionMode get() = TODO() // [ui]
    }
}

fun Modifier.semantics( // [ui]
    mergeDescendants: Boolean = false,
    properties: SemanticsPropertyReceiver.() -> Unit,
): Modifier = TODO()

fun SemanticsPropertyReceiver.heading(): Unit = TODO() // [ui]

var SemanticsPropertyReceiver.liveRegion: LiveRegionMode // [ui]
    get() = TODO()
    set(value) = TODO()

var SemanticsPropertyReceiver.contentDescription: String // [ui]
    get() = TODO()
    set(value) = TODO()
