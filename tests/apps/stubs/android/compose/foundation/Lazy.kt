// androidx.compose.foundation.lazy. Signatures only: bodies never run.
//
// [foundation] androidx/androidx compose/foundation/foundation/api/1.7.0-beta04.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.foundation.lazy

import androidx.compose.foundation.gestures.FlingBehavior
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier

@DslMarker
annotation class LazyScopeMarker // [foundation]

@LazyScopeMarker
interface LazyItemScope // [foundation]

@LazyScopeMarker
interface LazyListScope { // [foundation]
    fun item(key: Any? = null, contentType: Any? = null, content: @Composable LazyItemScope.() -> Unit) // [foundation]

    fun items( // [foundation]
        count: Int,
        key: ((index: Int) -> Any)? = null,
        contentType: (index: Int) -> Any? = { null },
        itemContent: @Composable LazyItemScope.(index: Int) -> Unit,
    )
}

class LazyListState(firstVisibleItemIndex: Int = 0, firstVisibleItemScrollOffset: Int = 0) { // [foundation]
    suspend fun scrollToItem(index: Int, scrollOffset: Int = 0): Unit = TODO() // [foundation]
}

@Composable
fun rememberLazyListState( // [foundation]
    initialFirstVisibleItemIndex: Int = 0,
    initialFirstVisibleItemScrollOffset: Int = 0,
): LazyListState = TODO()

@Composable
fun LazyColumn( // [foundation]
    modifier: Modifier = Modifier,
    state: LazyListState = rememberLazyListState(),
    contentPadding: PaddingValues = TODO(),
    reverseLayout: Boolean = false,
    verticalArrangement: Arrangement.Vertical = TODO(),
    horizontalAlignment: Alignment.Horizontal = Alignment.Start,
    flingBehavior: FlingBehavior = TODO(),
    userScrollEnabled: Boolean = true,
    content: LazyListScope.() -> Unit,
): Unit = TODO()
