// The golden prompt of a package, run again on this phone.
package ai.pocketlm.app.ui

import ai.pocketlm.app.Measurements
import ai.pocketlm.app.R
import ai.pocketlm.core.InstalledPackage
import ai.pocketlm.core.SelfTestState
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.padding
import androidx.compose.material3.Button
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.unit.dp

@Composable
fun SelfTestScreen(installed: InstalledPackage, measurements: Measurements, onBack: () -> Unit) {
    TitledScreen(title = stringResource(R.string.self_test_of, installed.name), onBack = onBack) { padding ->
        Column(
            Modifier.fillMaxSize().padding(padding).padding(16.dp),
            verticalArrangement = Arrangement.spacedBy(12.dp),
        ) {
            Text(stringResource(R.string.self_test_help))
            val state = measurements.selfTest
            if (state != null) SelfTestResult(state)
            val isRunning = state is SelfTestState.Loading || state is SelfTestState.Running
            if (!isRunning) {
                Button(onClick = { measurements.startSelfTest(installed) }) { Text(stringResource(R.string.run_again)) }
            }
        }
    }
}

@Composable
private fun SelfTestResult(state: SelfTestState) {
    when (state) {
        SelfTestState.Loading -> {
            Text(stringResource(R.string.loading_model))
            ProgressBar(null)
        }
        is SelfTestState.Running -> {
            Text(stringResource(R.string.steps_of, number(state.done), number(state.total)))
            ProgressBar(share(state.done.toLong(), state.total.toLong()))
        }
        is SelfTestState.Passed -> Notice(state.text, NoticeKind.INFORMATION)
        is SelfTestState.Unsure -> Notice(state.text, NoticeKind.INFORMATION)
        is SelfTestState.Failed -> Notice(state.text, NoticeKind.PROBLEM)
        SelfTestState.Stopped -> Notice(stringResource(R.string.stopped), NoticeKind.INFORMATION)
    }
}
