// androidx.compose.ui.test. Signatures only: bodies never run.
//
// [test] androidx/androidx compose/ui/ui-test/api/1.7.0-beta02.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.ui.test

interface SemanticsNodeInteractionsProvider // [test]

class SemanticsNodeInteraction private constructor() // [test]

fun SemanticsNodeInteractionsProvider.onNodeWithText( // [test]
    text: String,
    substring: Boolean = false,
    ignoreCase: Boolean = false,
    useUnmergedTree: Boolean = false,
): SemanticsNodeInteraction = TODO()

fun SemanticsNodeInteractionsProvider.onNodeWithContentDescription( // [test]
    label: String,
    substring: Boolean = false,
    ignoreCase: Boolean = false,
    useUnmergedTree: Boolean = false,
): SemanticsNodeInteraction = TODO()

fun SemanticsNodeInteraction.assertIsDisplayed(): SemanticsNodeInteraction = TODO() // [test]

fun SemanticsNodeInteraction.assertIsNotEnabled(): SemanticsNodeInteraction = TODO() // [test]

fun SemanticsNodeInteraction.performClick(): SemanticsNodeInteraction = TODO() // [test]

fun SemanticsNodeInteraction.performTextInput(text: String): Unit = TODO() // [test]
