// androidx.compose.ui: modifiers, alignment, the context. Signatures only: bodies never run.
//
// [ui] androidx/androidx compose/ui/ui/api/1.7.0-beta07.txt
package androidx.compose.ui

interface Modifier { // [ui]
    companion object : Modifier // [ui]
}

fun interface Alignment { // [ui]
    fun align(size: Long, space: Long, layoutDirection: Any): Long // [ui]

    fun interface Horizontal { // [ui]
        fun align(size: Int, space: Int, layoutDirection: Any): Int // [ui]
    }

    fun interface Vertical { // [ui]
        fun align(size: Int, space: Int): Int // [ui]
    }

    companion object { // [ui]
        val TopStart: Alignment = TODO() // [ui]
        val Center: Alignment = TODO() // [ui]
        val CenterStart: Alignment = TODO() // [ui]
        val CenterEnd: Alignment = TODO() // [ui]
        val Top: Vertical = TODO() // [ui]
        val CenterVertically: Vertical = TODO() // [ui]
        val Bottom: Vertical = TODO() // [ui]
        val Start: Horizontal = TODO() // [ui]
        val CenterHorizontally: Horizontal = TODO() // [ui]
    }
}
