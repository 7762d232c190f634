// androidx.compose.foundation. Signatures only: bodies never run.
//
// [foundation] androidx/androidx compose/foundation/foundation/api/1.7.0-beta04.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.foundation

import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier

@Composable
fun isSystemInDarkTheme(): Boolean = TODO() // [foundation]

class BorderStroke private constructor() // [foundation]

class ScrollState(initial: Int) // [foundation]

@Composable
fun rememberScrollState(initial: Int = 0): ScrollState = TODO() // [foundation]

fun Modifier.verticalScroll( // [foundation]
    state: ScrollState,
    enabled: Boolean = true,
    flingBehavior: androidx.compose.foundation.gestures.FlingBehavior? = null,
    reverseScrolling: Boolean = false,
): Modifier = TODO()
