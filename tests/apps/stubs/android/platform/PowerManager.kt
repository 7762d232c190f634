// android.os.PowerManager of Android 10: the API-23 android.jar has no thermal status. Signatures only: bodies never run.
//
// [power] https://developer.android.com/reference/android/os/PowerManager
@file:Suppress("UNUSED_PARAMETER")

package android.os

import java.util.concurrent.Executor

class PowerManager private constructor() { // [power]
    fun interface OnThermalStatusChangedListener { // [power]
        fun onThermalStatusChanged(status: Int) // [power]
    }

    val currentThermalStatus: Int get() = TODO() // [power]

    fun addThermalStatusListener(executor: Executor, listener: OnThermalStatusChangedListener): Unit = TODO() // [power]

    companion object { // [power]
        const val THERMAL_STATUS_CRITICAL = 4 // [power]
    }
}
