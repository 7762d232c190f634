// androidx.compose.ui.test.junit4. Signatures only: bodies never run.
//
// [rule] androidx/androidx compose/ui/ui-test-junit4/api/restricted_1.7.0-beta05.txt
package androidx.compose.ui.test.junit4

import androidx.compose.runtime.Composable
import androidx.compose.ui.test.SemanticsNodeInteractionsProvider
import org.junit.rules.TestRule

interface ComposeTestRule : TestRule, SemanticsNodeInteractionsProvider // [rule]

interface ComposeContentTestRule : ComposeTestRule { // [rule]
    fun setContent(composable: @Composable () -> Unit) // [rule]
}

fun createComposeRule(): ComposeContentTestRule = TODO() // [rule]
