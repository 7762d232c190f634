// androidx.compose.foundation.text. Signatures only: bodies never run.
//
// [foundation] androidx/androidx compose/foundation/foundation/api/1.7.0-beta04.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.compose.foundation.text

import androidx.compose.ui.text.input.ImeAction
import androidx.compose.ui.text.input.KeyboardCapitalization
import androidx.compose.ui.text.input.KeyboardType

// The real one has more parameters behind these, all with defaults.
class KeyboardOptions( // [foundation]
    val capitalization: KeyboardCapitalization = TODO(), // [foundation]
    val autoCorrectEnabled: Boolean? = null, // [foundation]
    val keyboardType: KeyboardType = TODO(), // [foundation]
    val imeAction: ImeAction = TODO(), // [foundation]
) {
    companion object { // [foundation]
        val Default: KeyboardOptions get() = TODO() // [foundation]
    }
}

class KeyboardActions { // [foundation]
    companion object { // [foundation]
        val Default: KeyboardActions get() = TODO() // [foundation]
    }
}
