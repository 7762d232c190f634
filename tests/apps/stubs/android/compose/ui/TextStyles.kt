// androidx.compose.ui.text.style. Signatures only: bodies never run.
//
// [text] androidx/androidx compose/ui/ui-text/api/1.7.0-beta01.txt
package androidx.compose.ui.text.style

@JvmInline
value class TextDirection internal constructor(internal val value: Int) { // [text]
    companion object { // [text]
        val Content: TextDirection get() = TODO() // [text]
    }
}

@JvmInline
value class TextOverflow internal constructor(internal val value: Int) { // [text]
    companion object { // [text]
        val Clip: TextOverflow get() = TODO() // [text]
        val Ellipsis: TextOverflow get() = TODO() // [text]
    }
}

@JvmInline
value class TextAlign internal constructor(internal val value: Int) // [text]

class TextDecoration internal constructor(val mask: Int) // [text]
