// androidx.test.ext.junit.runners. Signatures only: bodies never run.
//
// [runner] https://developer.android.com/reference/androidx/test/ext/junit/runners/AndroidJUnit4
@file:Suppress("UNUSED_PARAMETER")

package androidx.test.ext.junit.runners

import org.junit.runner.Runner

abstract class AndroidJUnit4(type: Class<*>) : Runner() // [runner]
