// androidx.compose.runtime as app code calls it. Signatures only: bodies never run.
//
// [runtime] androidx/androidx compose/runtime/runtime/api/1.7.0-beta07.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.runtime

import kotlin.reflect.KProperty
import kotlinx.coroutines.CoroutineScope

@MustBeDocumented
@Retention(AnnotationRetention.BINARY)
@Target(
    AnnotationTarget.FUNCTION,
    AnnotationTarget.TYPE,
    AnnotationTarget.TYPE_PARAMETER,
    AnnotationTarget.PROPERTY_GETTER,
)
annotation class Composable // [runtime]

@MustBeDocumented
@Retention(AnnotationRetention.BINARY)
@Target(AnnotationTarget.FUNCTION, AnnotationTarget.PROPERTY_GETTER)
annotation class ReadOnlyComposable // [runtime]

@MustBeDocumented
@Retention(AnnotationRetention.BINARY)
annotation class Stable // [runtime]

@MustBeDocumented
@Retention(AnnotationRetention.BINARY)
annotation class Immutable // [runtime]

interface State<out T> { // [runtime]
    val value: T // [runtime]
}

interface MutableState<T> : State<T> { // [runtime]
    override var value: T // [runtime]

    operator fun component1(): T // [runtime]

    operator fun component2(): (T) -> Unit // [runtime]
}

interface MutableFloatState : MutableState<Float> { // [runtime]
    override var value: Float // [runtime]

    var floatValue: Float // [runtime]
}

operator fun <T> State<T>.getValue(thisObj: Any?, property: KProperty<*>): T = TODO() // [runtime]

operator fun <T> MutableState<T>.setValue(thisObj: Any?, property: KProperty<*>, value: T): Unit = TODO() // [runtime]

operator fun MutableFloatState.getValue(thisObj: Any?, property: KProperty<*>): Float = TODO() // [runtime]

operator fun MutableFloatState.setValue(thisObj: Any?, property: KProperty<*>, value: Float): Unit = TODO() // [runtime]

interface SnapshotMutationPolicy<T> { // [runtime]
    fun equivalent(a: T, b: T): Boolean // [runtime]
}

fun <T> structuralEqualityPolicy(): SnapshotMutationPolicy<T> = TODO() // [runtime]

fun <T> mutableStateOf(value: T, policy: SnapshotMutationPolicy<T> = structuralEqualityPolicy()): MutableState<T> = TODO() // [runtime]

fun mutableFloatStateOf(value: Float): MutableFloatState = TODO() // [runtime]

@Composable
fun <T> remember(calculation: () -> T): T = TODO() // [runtime]

@Composable
fun <T> remember(key1: Any?, calculation: () -> T): T = TODO() // [runtime]

@Composable
fun <T> remember(key1: Any?, key2: Any?, calculation: () -> T): T = TODO() // [runtime]

@Composable
fun <T> remember(key1: Any?, key2: Any?, key3: Any?, calculation: () -> T): T = TODO() // [runtime]

@Composable
fun <T> remember(vararg keys: Any?, calculation: () -> T): T = TODO() // [runtime]

@Composable
fun LaunchedEffect(key1: Any?, block: suspend CoroutineScope.() -> Unit): Unit = TODO() // [runtime]

sealed class CompositionLocal<T> { // [runtime]
    @get:Composable
    val current: T get() = TODO() // [runtime]
}

abstract class ProvidableCompositionLocal<T> : CompositionLocal<T>() // [runtime]
