// The one activity: draws the model of the app, passes on what other apps hand over.
package ai.pocketlm.app

import ai.pocketlm.app.ui.PocketApp
import ai.pocketlm.app.ui.PocketTheme
import android.content.Intent
import android.net.Uri
import android.os.Bundle
import androidx.activity.ComponentActivity
import androidx.activity.compose.setContent
import androidx.activity.enableEdgeToEdge

class MainActivity : ComponentActivity() {
    private val model: AppModel get() = (application as PocketApplication).model

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        enableEdgeToEdge()
        if (savedInstanceState == null) takeIn(intent)
        setContent {
            PocketTheme { PocketApp(model) }
        }
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        takeIn(intent)
    }

    override fun onStart() {
        super.onStart()
        model.cameToForeground()
    }

    override fun onStop() {
        super.onStop()
        if (!isChangingConfigurations) model.leftForeground()
    }

    /** "Open with" and "share": the package that another app points at. */
    private fun takeIn(intent: Intent) {
        val uri: Uri? = when (intent.action) {
            Intent.ACTION_VIEW -> intent.data
            Intent.ACTION_SEND -> intent.clipData?.takeIf { it.itemCount > 0 }?.getItemAt(0)?.uri
            else -> null
        }
        if (uri != null) model.imports.fromUri(uri)
    }
}
