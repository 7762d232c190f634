// androidx.compose.ui.graphics. Signatures only: bodies never run.
//
// [graphics] androidx/androidx compose/ui/ui-graphics/api/1.7.0-beta01.txt
package androidx.compose.ui.graphics

@JvmInline
value class Color(val value: ULong) { // [graphics]
    companion object { // [graphics]
        val Unspecified: Color get() = TODO() // [graphics]
    }
}

interface Shape // [graphics]

@JvmInline
value class StrokeCap internal constructor(private val value: Int) // [graphics]
