// androidx.compose.foundation.layout. Signatures only: bodies never run.
//
// [layout] androidx/androidx compose/foundation/foundation-layout/api/1.7.0-beta06.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.foundation.layout

import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.Dp

object Arrangement { // [layout]
    interface Horizontal // [layout]

    interface Vertical // [layout]

    interface HorizontalOrVertical : Horizontal, Vertical // [layout]

    val Start: Horizontal get() = TODO() // [layout]
    val End: Horizontal get() = TODO() // [layout]
    val Top: Vertical get() = TODO() // [layout]
    val Bottom: Vertical get() = TODO() // [layout]
    val Center: HorizontalOrVertical get() = TODO() // [layout]
    val SpaceBetween: HorizontalOrVertical get() = TODO() // [layout]

    fun spacedBy(space: Dp): HorizontalOrVertical = TODO() // [layout]

    fun spacedBy(space: Dp, alignment: Alignment.Horizontal): Horizontal = TODO() // [layout]

    fun spacedBy(space: Dp, alignment: Alignment.Vertical): Vertical = TODO() // [layout]
}

@DslMarker
annotation class LayoutScopeMarker // [layout]

@LayoutScopeMarker
interface ColumnScope { // [layout]
    fun Modifier.weight(weight: Float, fill: Boolean = true): Modifier // [layout]

    fun Modifier.align(alignment: Alignment.Horizontal): Modifier // [layout]
}

@LayoutScopeMarker
interface RowScope { // [layout]
    fun Modifier.weight(weight: Float, fill: Boolean = true): Modifier // [layout]

    fun Modifier.align(alignment: Alignment.Vertical): Modifier // [layout]
}

@LayoutScopeMarker
interface BoxScope { // [layout]
    fun Modifier.align(alignment: Alignment): Modifier // [layout]
}

@Composable
fun Column( // [layout]
    modifier: Modifier = Modifier,
    verticalArrangement: Arrangement.Vertical = Arrangement.Top,
    horizontalAlignment: Alignment.Horizontal = Alignment.Start,
    content: @Composable ColumnScope.() -> Unit,
): Unit = TODO()

@Composable
fun Row( // [layout]
    modifier: Modifier = Modifier,
    horizontalArrangement: Arrangement.Horizontal = Arrangement.Start,
    verticalAlignment: Alignment.Vertical = Alignment.Top,
    content: @Composable RowScope.() -> Unit,
): Unit = TODO()

@Composable
fun Box( // [layout]
    modifier: Modifier = Modifier,
    contentAlignment: Alignment = Alignment.TopStart,
    propagateMinConstraints: Boolean = false,
    content: @Composable BoxScope.() -> Unit,
): Unit = TODO()

interface PaddingValues // [layout]

fun PaddingValues(all: Dp): PaddingValues = TODO() // [layout]

fun PaddingValues(horizontal: Dp = TODO(), vertical: Dp = TODO()): PaddingValues = TODO() // [layout]

fun PaddingValues(start: Dp = TODO(), top: Dp = TODO(), end: Dp = TODO(), bottom: Dp = TODO()): PaddingValues = TODO() // [layout]

fun Modifier.padding(paddingValues: PaddingValues): Modifier = TODO() // [layout]

fun Modifier.padding(all: Dp): Modifier = TODO() // [layout]

fun Modifier.padding(horizontal: Dp = TODO(), vertical: Dp = TODO()): Modifier = TODO() // [layout]

fun Modifier.padding(start: Dp = TODO(), top: Dp = TODO(), end: Dp = TODO(), bottom: Dp = TODO()): Modifier = TODO() // [layout]

fun Modifier.fillMaxWidth(fraction: Float = 1f): Modifier = TODO() // [layout]

fun Modifier.fillMaxSize(fraction: Float = 1f): Modifier = TODO() // [layout]

fun Modifier.widthIn(min: Dp = TODO(), max: Dp = TODO()): Modifier = TODO() // [layout]

fun Modifier.consumeWindowInsets(paddingValues: PaddingValues): Modifier = TODO() // [layout]

fun Modifier.imePadding(): Modifier = TODO() // [layout]

interface WindowInsets // [layout]
