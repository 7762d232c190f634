// Small pieces that several screens use.
package ai.pocketlm.app.ui

import ai.pocketlm.app.R
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.ColumnScope
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.RowScope
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.material3.Card
import androidx.compose.material3.CardDefaults
import androidx.compose.material3.ExperimentalMaterial3Api
import androidx.compose.material3.Icon
import androidx.compose.material3.IconButton
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Scaffold
import androidx.compose.material3.Text
import androidx.compose.material3.TopAppBar
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.painterResource
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.heading
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.text.style.TextOverflow
import androidx.compose.ui.unit.dp

/** A button that is an icon alone; `name`, a string resource, is what TalkBack says. */
@Composable
fun NamedIconButton(icon: Int, name: Int, isEnabled: Boolean = true, onClick: () -> Unit) {
    IconButton(onClick = onClick, enabled = isEnabled) {
        Icon(painter = painterResource(icon), contentDescription = stringResource(name))
    }
}

/** A screen with a title; `onBack` null: it is the first one. */
@OptIn(ExperimentalMaterial3Api::class)
@Composable
fun TitledScreen(
    title: String,
    onBack: (() -> Unit)?,
    actions: @Composable RowScope.() -> Unit = {},
    floatingButton: @Composable () -> Unit = {},
    content: @Composable (PaddingValues) -> Unit,
) {
    Scaffold(
        topBar = {
            TopAppBar(
                title = {
                    Text(
                        title,
                        maxLines = 1,
                        overflow = TextOverflow.Ellipsis,
                        modifier = Modifier.semantics { heading() },
                    )
                },
                navigationIcon = {
                    if (onBack != null) NamedIconButton(R.drawable.ic_back, R.string.back, onClick = onBack)
                },
                actions = actions,
            )
        },
        floatingActionButton = floatingButton,
        content = content,
    )
}

/** What a notice is about; it decides the colour. */
enum class NoticeKind { INFORMATION, PROBLEM }

/** A sentence that TalkBack reads out as it appears, with what can be done about it below. */
@Composable
fun Notice(text: String, kind: NoticeKind, actions: @Composable ColumnScope.() -> Unit = {}) {
    val colors = MaterialTheme.colorScheme
    val isProblem = kind == NoticeKind.PROBLEM
    Card(
        modifier = Modifier.fillMaxWidth().padding(horizontal = 16.dp, vertical = 4.dp),
        colors = CardDefaults.cardColors(
            containerColor = if (isProblem) colors.errorContainer else colors.secondaryContainer,
            contentColor = if (isProblem) colors.onErrorContainer else colors.onSecondaryContainer,
        ),
    ) {
        Column(Modifier.padding(16.dp)) {
            Text(text, modifier = Modifier.semantics { liveRegion = LiveRegionMode.Polite })
            actions()
        }
    }
}

/** A bar from 0 to 1, or one that only moves while the share is not known. */
@Composable
fun ProgressBar(share: Float?) {
    val modifier = Modifier.fillMaxWidth().padding(vertical = 8.dp)
    if (share == null) {
        LinearProgressIndicator(modifier)
    } else {
        LinearProgressIndicator(progress = { share }, modifier = modifier)
    }
}

/** A line of small print. */
@Composable
fun Small(text: String) {
    Text(text, style = MaterialTheme.typography.bodySmall, color = MaterialTheme.colorScheme.onSurfaceVariant)
}
