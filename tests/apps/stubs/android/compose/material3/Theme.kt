// androidx.compose.material3: colours and type. Signatures only: bodies never run.
//
// [m3] androidx/androidx compose/material3/material3/api/1.3.0-beta03.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.material3

import android.content.Context
import androidx.compose.runtime.Composable
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.text.TextStyle

@RequiresOptIn(message = "This material API is experimental and is likely to change or to be removed in the future.")
@Retention(AnnotationRetention.BINARY)
annotation class ExperimentalMaterial3Api // [m3]

class ColorScheme internal constructor() { // [m3]
    val error: Color get() = TODO() // [m3]
    val errorContainer: Color get() = TODO() // [m3]
    val onErrorContainer: Color get() = TODO() // [m3]
    val onPrimaryContainer: Color get() = TODO() // [m3]
    val onSecondaryContainer: Color get() = TODO() // [m3]
    val onSurface: Color get() = TODO() // [m3]
    val onSurfaceVariant: Color get() = TODO() // [m3]
    val outline: Color get() = TODO() // [m3]
    val primaryContainer: Color get() = TODO() // [m3]
    val secondaryContainer: Color get() = TODO() // [m3]
    val surfaceVariant: Color get() = TODO() // [m3]
}

// The real two have a parameter for each colour, all with defaults; the app passes none.
fun lightColorScheme(): ColorScheme = TODO() // [m3]

fun darkColorScheme(): ColorScheme = TODO() // [m3]

fun dynamicLightColorScheme(context: Context): ColorScheme = TODO() // [m3]

fun dynamicDarkColorScheme(context: Context): ColorScheme = TODO() // [m3]

class Shapes internal constructor() // [m3]

class Typography internal constructor() { // [m3]
    val titleMedium: TextStyle get() = TODO() // [m3]
    val titleSmall: TextStyle get() = TODO() // [m3]
    val bodyLarge: TextStyle get() = TODO() // [m3]
    val bodySmall: TextStyle get() = TODO() // [m3]
    val labelMedium: TextStyle get() = TODO() // [m3]
}

object MaterialTheme { // [m3]
    val colorScheme: ColorScheme // [m3]
        @Composable get() = TODO()
    val typography: Typography // [m3]
        @Composable get() = TODO()
    val shapes: Shapes // [m3]
        @Composable get() = TODO()
}

@Composable
fun MaterialTheme( // [m3]
    colorScheme: ColorScheme = MaterialTheme.colorScheme,
    shapes: Shapes = MaterialTheme.shapes,
    typography: Typography = MaterialTheme.typography,
    content: @Composable () -> Unit,
): Unit = TODO()
