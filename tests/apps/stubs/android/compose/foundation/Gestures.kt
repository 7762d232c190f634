// androidx.compose.foundation.gestures and .interaction. Signatures only: bodies never run.
//
// [foundation] androidx/androidx compose/foundation/foundation/api/1.7.0-beta04.txt
package androidx.compose.foundation.gestures

interface FlingBehavior // [foundation]
