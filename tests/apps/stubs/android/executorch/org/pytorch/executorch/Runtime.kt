// ExecuTorch's runtime classes as the engine uses them: signatures only, bodies never run.
//
// [module] pytorch/executorch extension/android/executorch_android/src/main/java/org/pytorch/executorch/Module.kt @ cff6f4dd32e630945b7188512c1f2b4f102b05ad
// [error] pytorch/executorch extension/android/executorch_android/src/main/java/org/pytorch/executorch/ExecutorchRuntimeException.kt @ cff6f4dd32e630945b7188512c1f2b4f102b05ad
@file:Suppress("UNUSED_PARAMETER")

package org.pytorch.executorch

import java.io.Closeable

open class Module private constructor() : Closeable { // [module]
    override fun close(): Unit = TODO() // [module]

    companion object { // [module]
        const val LOAD_MODE_MMAP = 1 // [module]

        @JvmStatic
        @JvmOverloads
        fun load(modelPath: String?, loadMode: Int = 0, numThreads: Int = 0): Module = TODO() // [module]
    }
}

open class ExecutorchRuntimeException( // [error]
    val errorCode: Int, // [error]
    details: String?,
) : RuntimeException(details)
