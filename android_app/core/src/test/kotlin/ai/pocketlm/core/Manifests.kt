// Good manifests of the vectors, for tests that need one.
package ai.pocketlm.core

import ai.pocketlm.e2e.at

object Manifests {
    private val bases = Vectors.document("manifests").at("bases")

    /** 64 tokens, chunks of 8, a chat template. */
    val endless: Manifest = parseManifest(bases.at("endless"))

    /** The same, with system messages. */
    val withSystem: Manifest = endless.copy(template = systemTemplate(endless.template as ChatTemplate))

    val id = PackageId("ab".repeat(32))

    private fun systemTemplate(template: ChatTemplate) =
        template.copy(roles = template.roles + ("system" to Role(prefix = "", suffix = "\n")))
}
