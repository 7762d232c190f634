// Numbers as the screens show them, in the phone's language.
package ai.pocketlm.app.ui

import ai.pocketlm.app.R
import ai.pocketlm.core.Manifest
import ai.pocketlm.core.Sentences
import ai.pocketlm.core.Statistics
import androidx.compose.runtime.Composable
import androidx.compose.ui.res.stringResource
import java.text.NumberFormat

/** A number with at most `decimals` places behind the point, as the phone's language writes it. */
fun number(value: Double, decimals: Int): String =
    NumberFormat.getNumberInstance().apply { maximumFractionDigits = decimals }.format(value)

fun number(value: Int): String = number(value.toLong())

fun number(value: Long): String = NumberFormat.getIntegerInstance().format(value)

/** The share of `done` in `total`, 0 to 1; 0 while nothing is known. */
fun share(done: Long, total: Long): Float = if (total <= 0) 0f else (done.toDouble() / total).toFloat().coerceIn(0f, 1f)

@Composable
fun contextText(manifest: Manifest): String {
    val name = if (manifest.context.isEndless) R.string.context_endless else R.string.context_bounded
    return stringResource(name, number(manifest.context.tokens))
}

/** "12.3 tokens/s · first token after 0.41 s · 210.5 MB", what is known of it. */
@Composable
fun statisticsText(statistics: Statistics?, residentBytes: Long): String {
    val parts = mutableListOf<String>()
    statistics?.decodeTokensPerS?.let { parts += stringResource(R.string.tokens_per_second, number(it, 1)) }
    statistics?.timeToFirstTokenS?.let { parts += stringResource(R.string.first_token_after, number(it, 2)) }
    if (residentBytes > 0) parts += stringResource(R.string.memory_in_use, Sentences.size(residentBytes))
    return parts.joinToString(" · ")
}
