// What the app does with data, and whose work it stands on.
package ai.pocketlm.app.ui

import ai.pocketlm.app.R
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.unit.dp

/** A library in the app, its licence, and where both are kept. */
private data class Library(val name: String, val licence: String, val address: String)

private val LIBRARIES = listOf(
    Library("ExecuTorch, with XNNPACK", "BSD 3-Clause", "https://github.com/pytorch/executorch"),
    Library("fbjni, nativeloader", "Apache 2.0", "https://github.com/facebookincubator/fbjni"),
    Library("AndroidX: Activity, Compose, Material 3", "Apache 2.0", "https://github.com/androidx/androidx"),
    Library("Kotlin, kotlinx.coroutines", "Apache 2.0", "https://github.com/JetBrains/kotlin"),
)

@Composable
fun AboutScreen(onBack: () -> Unit) {
    TitledScreen(title = stringResource(R.string.about), onBack = onBack) { padding ->
        Column(
            Modifier.fillMaxSize().padding(padding).verticalScroll(rememberScrollState()).padding(16.dp),
            verticalArrangement = Arrangement.spacedBy(12.dp),
        ) {
            Text(stringResource(R.string.about_app))
            Heading(stringResource(R.string.privacy))
            Text(stringResource(R.string.privacy_text))
            Heading(stringResource(R.string.licences))
            Text(stringResource(R.string.own_licence))
            for (library in LIBRARIES) {
                Column {
                    Text("${library.name}: ${library.licence}")
                    Small(library.address)
                }
            }
            Text(stringResource(R.string.package_licences))
        }
    }
}
