// androidx.activity. Signatures only: bodies never run.
//
// [activity] androidx/androidx activity/activity/api/1.11.0-beta01.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.activity

import android.app.Activity
import android.content.Intent
import android.os.Bundle

open class ComponentActivity : Activity() { // [activity]
    override fun onCreate(savedInstanceState: Bundle?): Unit = TODO() // [activity]

    override fun onNewIntent(intent: Intent): Unit = TODO() // [activity]
}

class SystemBarStyle private constructor() // [activity]

@JvmOverloads
fun ComponentActivity.enableEdgeToEdge( // [activity]
    statusBarStyle: SystemBarStyle = TODO(),
    navigationBarStyle: SystemBarStyle = TODO(),
): Unit = TODO()
