// Colours: the phone's own where it has some (Android 12), else Material's; dark when the phone is dark.
package ai.pocketlm.app.ui

import android.os.Build
import androidx.compose.foundation.isSystemInDarkTheme
import androidx.compose.material3.ColorScheme
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.darkColorScheme
import androidx.compose.material3.dynamicDarkColorScheme
import androidx.compose.material3.dynamicLightColorScheme
import androidx.compose.material3.lightColorScheme
import androidx.compose.runtime.Composable
import androidx.compose.ui.platform.LocalContext

private const val API_WITH_DYNAMIC_COLOURS = 31

@Composable
fun PocketTheme(content: @Composable () -> Unit) {
    MaterialTheme(colorScheme = colours(isSystemInDarkTheme()), content = content)
}

@Composable
private fun colours(isDark: Boolean): ColorScheme {
    val context = LocalContext.current
    return when {
        Build.VERSION.SDK_INT < API_WITH_DYNAMIC_COLOURS -> if (isDark) darkColorScheme() else lightColorScheme()
        isDark -> dynamicDarkColorScheme(context)
        else -> dynamicLightColorScheme(context)
    }
}
