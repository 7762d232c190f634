// androidx.compose.runtime.internal as the Compose compiler plugin calls it. Signatures only: bodies never run.
//
// [restricted] androidx/androidx compose/runtime/runtime/api/restricted_1.7.0-beta03.txt
@file:JvmName("ComposableLambdaKt")
@file:JvmMultifileClass
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.runtime.internal

import androidx.compose.runtime.Composable
import androidx.compose.runtime.Composer

interface ComposableLambda // [restricted]

fun composableLambda(composer: Composer, key: Int, tracked: Boolean, block: Any): ComposableLambda = TODO() // [restricted]

fun composableLambdaInstance(key: Int, tracked: Boolean, block: Any): ComposableLambda = TODO() // [restricted]

@Composable
fun rememberComposableLambda(key: Int, tracked: Boolean, block: Any): ComposableLambda = TODO() // [restricted]

@Retention(AnnotationRetention.BINARY)
@Target(AnnotationTarget.CLASS)
annotation class StabilityInferred(val parameters: Int) // [restricted]

@Retention(AnnotationRetention.BINARY)
annotation class FunctionKeyMeta(val key: Int, val startOffset: Int, val endOffset: Int) // [restricted]

@Retention(AnnotationRetention.BINARY)
@Target(AnnotationTarget.CLASS)
annotation class FunctionKeyMetaClass(val file: String) // [restricted]
