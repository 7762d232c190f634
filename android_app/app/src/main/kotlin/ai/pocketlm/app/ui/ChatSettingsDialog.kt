// A chat's settings: system text, temperature, and how long a reply may become.
package ai.pocketlm.app.ui

import ai.pocketlm.app.R
import ai.pocketlm.core.ChatSettings
import ai.pocketlm.core.ChatTemplate
import ai.pocketlm.core.CompletionOnly
import ai.pocketlm.core.Manifest
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.AlertDialog
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Slider
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableFloatStateOf
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.contentDescription
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.dp
import kotlin.math.abs
import kotlin.math.roundToInt

/** Tokens that a reply may have. The runner's own default of 128 cuts replies in the middle and is not offered. */
val BUDGETS: List<Int> = listOf(256, 512, 1024, 2048, 4096)

private const val TEMPERATURE_PARTS = 20 // steps of 0.05 from 0 to 1
private const val MAX_SYSTEM_CHARACTERS = 10_000

/** Whether a package takes a system text. */
fun takesSystem(manifest: Manifest): Boolean =
    when (val template = manifest.template) {
        is ChatTemplate -> "system" in template.roles
        is CompletionOnly -> false
    }

@Composable
fun ChatSettingsDialog(
    settings: ChatSettings,
    manifest: Manifest,
    onChange: (ChatSettings) -> Unit,
    onDismiss: () -> Unit,
) {
    val ownSystem = (manifest.template as? ChatTemplate)?.defaultSystem
    var system by rememberSaveable { mutableStateOf(settings.system ?: ownSystem ?: "") }
    var temperature by rememberSaveable { mutableFloatStateOf((settings.temperature * TEMPERATURE_PARTS).toFloat()) }
    var budget by rememberSaveable { mutableFloatStateOf(nearestBudget(settings.budget).toFloat()) }
    val chosenTemperature = temperature.roundToInt().toDouble() / TEMPERATURE_PARTS
    val chosenBudget = BUDGETS[budget.roundToInt()]
    AlertDialog(
        onDismissRequest = onDismiss,
        title = { Text(stringResource(R.string.chat_settings)) },
        text = {
            Column(Modifier.verticalScroll(rememberScrollState()), verticalArrangement = Arrangement.spacedBy(8.dp)) {
                if (takesSystem(manifest)) SystemField(system) { system = it }
                NamedSlider(
                    name = stringResource(R.string.temperature, number(chosenTemperature, 2)),
                    value = temperature,
                    range = 0f..TEMPERATURE_PARTS.toFloat(),
                    steps = TEMPERATURE_PARTS - 1,
                    onChange = { temperature = it },
                )
                NamedSlider(
                    name = stringResource(R.string.reply_budget, number(chosenBudget.toLong())),
                    value = budget,
                    range = 0f..BUDGETS.lastIndex.toFloat(),
                    steps = BUDGETS.size - 2,
                    onChange = { budget = it },
                )
            }
        },
        confirmButton = {
            TextButton(
                onClick = {
                    val chosen = system.takeIf { takesSystem(manifest) && it.isNotBlank() && it != ownSystem }
                    onChange(ChatSettings(chosen, chosenTemperature, chosenBudget))
                    onDismiss()
                },
            ) { Text(stringResource(R.string.apply)) }
        },
        dismissButton = { TextButton(onClick = onDismiss) { Text(stringResource(R.string.cancel)) } },
    )
}

/** The index of the budget next to a number of tokens. */
private fun nearestBudget(tokens: Int): Int = BUDGETS.indices.minByOrNull { abs(BUDGETS[it] - tokens) } ?: 0

@Composable
private fun SystemField(system: String, onChange: (String) -> Unit) {
    OutlinedTextField(
        value = system,
        onValueChange = { onChange(it.take(MAX_SYSTEM_CHARACTERS)) },
        label = { Text(stringResource(R.string.system_prompt)) },
        supportingText = { Text(stringResource(R.string.system_prompt_help)) },
        maxLines = 6,
    )
}

@Composable
private fun NamedSlider(
    name: String,
    value: Float,
    range: ClosedFloatingPointRange<Float>,
    steps: Int,
    onChange: (Float) -> Unit,
) {
    Column {
        Text(name)
        Slider(
            value = value,
            onValueChange = onChange,
            modifier = Modifier.semantics { contentDescription = name },
            valueRange = range,
            steps = steps,
        )
    }
}
