// androidx.compose.foundation.text.selection. Signatures only: bodies never run.
//
// [foundation] androidx/androidx compose/foundation/foundation/api/1.7.0-beta04.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.foundation.text.selection

import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier

@Composable
fun SelectionContainer(modifier: Modifier = Modifier, content: @Composable () -> Unit): Unit = TODO() // [foundation]
