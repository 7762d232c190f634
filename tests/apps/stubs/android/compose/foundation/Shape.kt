// androidx.compose.foundation.shape. Signatures only: bodies never run.
//
// [foundation] androidx/androidx compose/foundation/foundation/api/1.7.0-beta04.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.foundation.shape

import androidx.compose.ui.graphics.Shape
import androidx.compose.ui.unit.Dp

class RoundedCornerShape private constructor() : Shape // [foundation]

fun RoundedCornerShape(size: Dp): RoundedCornerShape = TODO() // [foundation]
