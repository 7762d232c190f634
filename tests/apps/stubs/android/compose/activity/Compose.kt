// androidx.activity.compose. Signatures only: bodies never run.
//
// [compose] androidx/androidx activity/activity-compose/api/1.11.0-beta01.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.activity.compose

import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContract
import androidx.compose.runtime.Composable

fun ComponentActivity.setContent(parent: Any? = null, content: @Composable () -> Unit): Unit = TODO() // [compose]

@Composable
fun BackHandler(enabled: Boolean = true, onBack: () -> Unit): Unit = TODO() // [compose]

class ManagedActivityResultLauncher<I, O> internal constructor() { // [compose]
    fun launch(input: I): Unit = TODO() // [compose]
}

@Composable
fun <I, O> rememberLauncherForActivityResult( // [compose]
    contract: ActivityResultContract<I, O>,
    onResult: (O) -> Unit,
): ManagedActivityResultLauncher<I, O> = TODO()
