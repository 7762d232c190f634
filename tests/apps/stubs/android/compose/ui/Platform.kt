// androidx.compose.ui.platform and .res. Signatures only: bodies never run.
//
// [ui] androidx/androidx compose/ui/ui/api/1.7.0-beta07.txt
package androidx.compose.ui.platform

import android.content.Context
import androidx.compose.runtime.ProvidableCompositionLocal

val LocalContext: ProvidableCompositionLocal<Context> get() = TODO() // [ui]
