// androidx.compose.material3: what is read, tapped and typed into. Signatures only: bodies never run.
//
// [m3] androidx/androidx compose/material3/material3/api/1.3.0-beta03.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.material3

import androidx.compose.foundation.BorderStroke
import androidx.compose.foundation.interaction.MutableInteractionSource
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.RowScope
import androidx.compose.foundation.text.KeyboardActions
import androidx.compose.foundation.text.KeyboardOptions
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.Shape
import androidx.compose.ui.graphics.StrokeCap
import androidx.compose.ui.graphics.painter.Painter
import androidx.compose.ui.text.TextLayoutResult
import androidx.compose.ui.text.TextStyle
import androidx.compose.ui.text.font.FontFamily
import androidx.compose.ui.text.font.FontStyle
import androidx.compose.ui.text.font.FontWeight
import androidx.compose.ui.text.input.VisualTransformation
import androidx.compose.ui.text.style.TextAlign
import androidx.compose.ui.text.style.TextDecoration
import androidx.compose.ui.text.style.TextOverflow
import androidx.compose.ui.unit.Dp
import androidx.compose.ui.unit.TextUnit

@Composable
fun Text( // [m3]
    text: String,
    modifier: Modifier = Modifier,
    color: Color = Color.Unspecified,
    fontSize: TextUnit = TextUnit.Unspecified,
    fontStyle: FontStyle? = null,
    fontWeight: FontWeight? = null,
    fontFamily: FontFamily? = null,
    letterSpacing: TextUnit = TextUnit.Unspecified,
    textDecoration: TextDecoration? = null,
    textAlign: TextAlign? = null,
    lineHeight: TextUnit = TextUnit.Unspecified,
    overflow: TextOverflow = TextOverflow.Clip,
    softWrap: Boolean = true,
    maxLines: Int = Int.MAX_VALUE,
    minLines: Int = 1,
    onTextLayout: ((TextLayoutResult) -> Unit)? = null,
    style: TextStyle = TODO(),
): Unit = TODO()

@Composable
fun Icon( // [m3]
    painter: Painter,
    contentDescription: String?,
    modifier: Modifier = Modifier,
    tint: Color = TODO(),
): Unit = TODO()

class IconButtonColors internal constructor() // [m3]

@Composable
fun IconButton( // [m3]
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    colors: IconButtonColors = TODO(),
    interactionSource: MutableInteractionSource? = null,
    content: @Composable () -> Unit,
): Unit = TODO()

class ButtonColors internal constructor() // [m3]

class ButtonElevation internal constructor() // [m3]

@Composable
fun Button( // [m3]
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    shape: Shape = TODO(),
    colors: ButtonColors = TODO(),
    elevation: ButtonElevation? = TODO(),
    border: BorderStroke? = null,
    contentPadding: PaddingValues = TODO(),
    interactionSource: MutableInteractionSource? = null,
    content: @Composable RowScope.() -> Unit,
): Unit = TODO()

@Composable
fun TextButton( // [m3]
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    shape: Shape = TODO(),
    colors: ButtonColors = TODO(),
    elevation: ButtonElevation? = null,
    border: BorderStroke? = null,
    contentPadding: PaddingValues = TODO(),
    interactionSource: MutableInteractionSource? = null,
    content: @Composable RowScope.() -> Unit,
): Unit = TODO()

class FloatingActionButtonElevation internal constructor() // [m3]

@Composable
fun FloatingActionButton( // [m3]
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    shape: Shape = TODO(),
    containerColor: Color = TODO(),
    contentColor: Color = TODO(),
    elevation: FloatingActionButtonElevation = TODO(),
    interactionSource: MutableInteractionSource? = null,
    content: @Composable () -> Unit,
): Unit = TODO()

@Composable
fun LinearProgressIndicator( // [m3]
    progress: () -> Float,
    modifier: Modifier = Modifier,
    color: Color = TODO(),
    trackColor: Color = TODO(),
    strokeCap: StrokeCap = TODO(),
    gapSize: Dp = TODO(),
    drawStopIndicator: Any = TODO(),
): Unit = TODO()

@Composable
fun LinearProgressIndicator( // [m3]
    modifier: Modifier = Modifier,
    color: Color = TODO(),
    trackColor: Color = TODO(),
    strokeCap: StrokeCap = TODO(),
    gapSize: Dp = TODO(),
): Unit = TODO()

@Composable
fun CircularProgressIndicator( // [m3]
    modifier: Modifier = Modifier,
    color: Color = TODO(),
    strokeWidth: Dp = TODO(),
    trackColor: Color = TODO(),
    strokeCap: StrokeCap = TODO(),
): Unit = TODO()

@Composable
fun HorizontalDivider(modifier: Modifier = Modifier, thickness: Dp = TODO(), color: Color = TODO()): Unit = TODO() // [m3]

class SliderColors internal constructor() // [m3]

@Composable
fun Slider( // [m3]
    value: Float,
    onValueChange: (Float) -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    valueRange: ClosedFloatingPointRange<Float> = 0f..1f,
    steps: Int = 0,
    onValueChangeFinished: (() -> Unit)? = null,
    colors: SliderColors = TODO(),
    interactionSource: MutableInteractionSource = TODO(),
): Unit = TODO()

class TextFieldColors internal constructor() // [m3]

@Composable
fun OutlinedTextField( // [m3]
    value: String,
    onValueChange: (String) -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    readOnly: Boolean = false,
    textStyle: TextStyle = TODO(),
    label: @Composable (() -> Unit)? = null,
    placeholder: @Composable (() -> Unit)? = null,
    leadingIcon: @Composable (() -> Unit)? = null,
    trailingIcon: @Composable (() -> Unit)? = null,
    prefix: @Composable (() -> Unit)? = null,
    suffix: @Composable (() -> Unit)? = null,
    supportingText: @Composable (() -> Unit)? = null,
    isError: Boolean = false,
    visualTransformation: VisualTransformation = VisualTransformation.None,
    keyboardOptions: KeyboardOptions = KeyboardOptions.Default,
    keyboardActions: KeyboardActions = KeyboardActions.Default,
    singleLine: Boolean = false,
    maxLines: Int = if (singleLine) 1 else Int.MAX_VALUE,
    minLines: Int = 1,
    interactionSource: MutableInteractionSource? = null,
    shape: Shape = TODO(),
    colors: TextFieldColors = TODO(),
): Unit = TODO()
