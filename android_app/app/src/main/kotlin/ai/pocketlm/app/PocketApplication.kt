// The process: it owns the model of the app, which outlives every activity and rotation.
package ai.pocketlm.app

import android.app.Application

// ComponentCallbacks2's TRIM_MEMORY_RUNNING_CRITICAL and TRIM_MEMORY_BACKGROUND. Newer Android sends the second only.
private const val RUNNING_CRITICAL = 15
private const val UI_HIDDEN = 20
private const val BACKGROUND = 40

class PocketApplication : Application() {
    lateinit var model: AppModel
        private set

    override fun onCreate() {
        super.onCreate()
        model = AppModel(this)
    }

    override fun onTrimMemory(level: Int) {
        super.onTrimMemory(level)
        if (level in RUNNING_CRITICAL until UI_HIDDEN || level >= BACKGROUND) model.memoryIsLow()
    }
}
