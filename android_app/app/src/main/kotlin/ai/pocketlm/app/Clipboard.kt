// The clipboard, at the user's tap only.
package ai.pocketlm.app

import android.content.ClipData
import android.content.ClipboardManager
import android.content.Context

/** Puts a text on the clipboard; `label` is what the system may show of it. */
fun Context.copyText(label: String, text: String) {
    getSystemService(ClipboardManager::class.java).setPrimaryClip(ClipData.newPlainText(label, text))
}
