// androidx.compose.ui.graphics.painter. Signatures only: bodies never run.
//
// [graphics] androidx/androidx compose/ui/ui-graphics/api/1.7.0-beta01.txt
package androidx.compose.ui.graphics.painter

abstract class Painter // [graphics]
