// androidx.activity.result.contract. Signatures only: bodies never run.
//
// [activity] androidx/androidx activity/activity/api/1.11.0-beta01.txt
@file:Suppress("UNUSED_PARAMETER")

package androidx.activity.result.contract

import android.net.Uri

abstract class ActivityResultContract<I, O> // [activity]

class ActivityResultContracts private constructor() { // [activity]
    open class OpenDocument : ActivityResultContract<Array<String>, Uri?>() // [activity]

    open class CreateDocument(mimeType: String) : ActivityResultContract<String, Uri?>() // [activity]
}
