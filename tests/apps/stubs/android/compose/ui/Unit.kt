// androidx.compose.ui.unit. Signatures only: bodies never run.
//
// [unit] androidx/androidx compose/ui/ui-unit/api/1.7.0-beta01.txt
package androidx.compose.ui.unit

@JvmInline
value class Dp(val value: Float) { // [unit]
    companion object { // [unit]
        val Unspecified: Dp get() = TODO() // [unit]
        val Hairline: Dp get() = TODO() // [unit]
    }
}

val Int.dp: Dp get() = TODO() // [unit]

@JvmInline
value class TextUnit internal constructor(val packedValue: Long) { // [unit]
    companion object { // [unit]
        val Unspecified: TextUnit get() = TODO() // [unit]
    }
}
