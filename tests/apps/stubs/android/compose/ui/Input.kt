// androidx.compose.ui.text.input. Signatures only: bodies never run.
//
// [text] androidx/androidx compose/ui/ui-text/api/1.7.0-beta01.txt
package androidx.compose.ui.text.input

@JvmInline
value class KeyboardCapitalization private constructor(private val value: Int) { // [text]
    companion object { // [text]
        val Unspecified: KeyboardCapitalization get() = TODO() // [text]
        val Sentences: KeyboardCapitalization get() = TODO() // [text]
    }
}

@JvmInline
value class KeyboardType private constructor(private val value: Int) { // [text]
    companion object { // [text]
        val Unspecified: KeyboardType get() = TODO() // [text]
        val Uri: KeyboardType get() = TODO() // [text]
    }
}

@JvmInline
value class ImeAction private constructor(val value: Int) { // [text]
    companion object { // [text]
        val Unspecified: ImeAction get() = TODO() // [text]
    }
}

fun interface VisualTransformation { // [text]
    fun filter(text: Any): Any // [text]

    companion object { // [text]
        val None: VisualTransformation get() = TODO() // [text]
    }
}
