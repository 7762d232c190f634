// androidx.compose.runtime.saveable. Signatures only: bodies never run.
//
// [saveable] androidx/androidx compose/runtime/runtime-saveable/api/restricted_1.7.0-beta01.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.runtime.saveable

import androidx.compose.runtime.Composable

interface SaverScope { // [saveable]
    fun canBeSaved(value: Any): Boolean // [saveable]
}

interface Saver<Original, Saveable : Any> { // [saveable]
    fun SaverScope.save(value: Original): Saveable? // [saveable]

    fun restore(value: Saveable): Original? // [saveable]
}

fun <Original, Saveable : Any> Saver( // [saveable]
    save: SaverScope.(value: Original) -> Saveable?,
    restore: (value: Saveable) -> Original?,
): Saver<Original, Saveable> = TODO()

fun <T> autoSaver(): Saver<T, Any> = TODO() // [saveable]

@Composable
fun <T : Any> rememberSaveable( // [saveable]
    vararg inputs: Any?,
    saver: Saver<T, out Any> = autoSaver(),
    key: String? = null,
    init: () -> T,
): T = TODO()
