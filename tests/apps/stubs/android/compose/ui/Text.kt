// androidx.compose.ui.text: one style. Signatures only: bodies never run.
//
// [text] androidx/androidx compose/ui/ui-text/api/1.7.0-beta01.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.ui.text

import androidx.compose.ui.text.style.TextDirection

class TextLayoutResult private constructor() // [text]

class TextStyle private constructor() { // [text]
    // The real one has more parameters, all with defaults; the app names the one that it sets.
    fun copy(textDirection: TextDirection = TODO()): TextStyle = TODO() // [text]

    companion object { // [text]
        val Default: TextStyle get() = TODO() // [text]
    }
}
