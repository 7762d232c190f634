// androidx.compose.ui.res. Signatures only: bodies never run.
//
// [ui] androidx/androidx compose/ui/ui/api/1.7.0-beta07.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.ui.res

import androidx.compose.runtime.Composable
import androidx.compose.ui.graphics.painter.Painter

@Composable
fun stringResource(id: Int): String = TODO() // [ui]

@Composable
fun stringResource(id: Int, vararg formatArgs: Any): String = TODO() // [ui]

@Composable
fun pluralStringResource(id: Int, count: Int, vararg formatArgs: Any): String = TODO() // [ui]

@Composable
fun painterResource(id: Int): Painter = TODO() // [ui]
