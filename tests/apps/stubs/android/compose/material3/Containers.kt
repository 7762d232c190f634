// androidx.compose.material3: what holds other things. Signatures only: bodies never run.
//
// [m3] androidx/androidx compose/material3/material3/api/1.3.0-beta03.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.material3

import androidx.compose.foundation.BorderStroke
import androidx.compose.foundation.ScrollState
import androidx.compose.foundation.interaction.MutableInteractionSource
import androidx.compose.foundation.layout.ColumnScope
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.RowScope
import androidx.compose.foundation.layout.WindowInsets
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.Shape
import androidx.compose.ui.unit.Dp

@JvmInline
value class FabPosition internal constructor(private val value: Int) // [m3]

@Composable
fun Scaffold( // [m3]
    modifier: Modifier = Modifier,
    topBar: @Composable () -> Unit = {},
    bottomBar: @Composable () -> Unit = {},
    snackbarHost: @Composable () -> Unit = {},
    floatingActionButton: @Composable () -> Unit = {},
    floatingActionButtonPosition: FabPosition = TODO(),
    containerColor: Color = TODO(),
    contentColor: Color = TODO(),
    contentWindowInsets: WindowInsets = TODO(),
    content: @Composable (PaddingValues) -> Unit,
): Unit = TODO()

class TopAppBarColors internal constructor() // [m3]

interface TopAppBarScrollBehavior // [m3]

@ExperimentalMaterial3Api
@Composable
fun TopAppBar( // [m3]
    title: @Composable () -> Unit,
    modifier: Modifier = Modifier,
    navigationIcon: @Composable () -> Unit = {},
    actions: @Composable RowScope.() -> Unit = {},
    expandedHeight: Dp = TODO(),
    windowInsets: WindowInsets = TODO(),
    colors: TopAppBarColors = TODO(),
    scrollBehavior: TopAppBarScrollBehavior? = null,
): Unit = TODO()

class CardColors internal constructor() // [m3]

class CardElevation internal constructor() // [m3]

object CardDefaults { // [m3]
    @Composable
    fun cardColors( // [m3]
        containerColor: Color = TODO(),
        contentColor: Color = TODO(),
        disabledContainerColor: Color = TODO(),
        disabledContentColor: Color = TODO(),
    ): CardColors = TODO()
}

@Composable
fun Card( // [m3]
    modifier: Modifier = Modifier,
    shape: Shape = TODO(),
    colors: CardColors = TODO(),
    elevation: CardElevation = TODO(),
    border: BorderStroke? = null,
    content: @Composable ColumnScope.() -> Unit,
): Unit = TODO()

@Composable
fun OutlinedCard( // [m3]
    modifier: Modifier = Modifier,
    shape: Shape = TODO(),
    colors: CardColors = TODO(),
    elevation: CardElevation = TODO(),
    border: BorderStroke = TODO(),
    content: @Composable ColumnScope.() -> Unit,
): Unit = TODO()

@Composable
fun Surface( // [m3]
    modifier: Modifier = Modifier,
    shape: Shape = TODO(),
    color: Color = TODO(),
    contentColor: Color = TODO(),
    tonalElevation: Dp = TODO(),
    shadowElevation: Dp = TODO(),
    border: BorderStroke? = null,
    content: @Composable () -> Unit,
): Unit = TODO()

@Composable
fun AlertDialog( // [m3]
    onDismissRequest: () -> Unit,
    confirmButton: @Composable () -> Unit,
    modifier: Modifier = Modifier,
    dismissButton: @Composable (() -> Unit)? = null,
    icon: @Composable (() -> Unit)? = null,
    title: @Composable (() -> Unit)? = null,
    text: @Composable (() -> Unit)? = null,
    shape: Shape = TODO(),
    containerColor: Color = TODO(),
    iconContentColor: Color = TODO(),
    titleContentColor: Color = TODO(),
    textContentColor: Color = TODO(),
    tonalElevation: Dp = TODO(),
    properties: Any = TODO(),
): Unit = TODO()

@Composable
fun DropdownMenu( // [m3]
    expanded: Boolean,
    onDismissRequest: () -> Unit,
    modifier: Modifier = Modifier,
    offset: Any = TODO(),
    scrollState: ScrollState = TODO(),
    properties: Any = TODO(),
    shape: Shape = TODO(),
    containerColor: Color = TODO(),
    tonalElevation: Dp = TODO(),
    shadowElevation: Dp = TODO(),
    border: BorderStroke? = null,
    content: @Composable ColumnScope.() -> Unit,
): Unit = TODO()

class MenuItemColors internal constructor() // [m3]

@Composable
fun DropdownMenuItem( // [m3]
    text: @Composable () -> Unit,
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    leadingIcon: @Composable (() -> Unit)? = null,
    trailingIcon: @Composable (() -> Unit)? = null,
    enabled: Boolean = true,
    colors: MenuItemColors = TODO(),
    contentPadding: PaddingValues = TODO(),
    interactionSource: MutableInteractionSource? = null,
): Unit = TODO()
