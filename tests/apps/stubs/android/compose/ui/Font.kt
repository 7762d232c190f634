// androidx.compose.ui.text.font. Signatures only: bodies never run.
//
// [text] androidx/androidx compose/ui/ui-text/api/1.7.0-beta01.txt
package androidx.compose.ui.text.font

@JvmInline
value class FontStyle(val value: Int) // [text]

class FontWeight(val weight: Int) // [text]

sealed class FontFamily { // [text]
    companion object { // [text]
        val Monospace: FontFamily get() = TODO() // [text]
    }
}
