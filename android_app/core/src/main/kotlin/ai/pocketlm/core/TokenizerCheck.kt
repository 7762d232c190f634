// Whether a package's tokenizer is the one that its manifest was written for: the special tokens have their ids.
package ai.pocketlm.core

object TokenizerCheck {
    /**
     * Looks every special token of the manifest up in a `tokenizer.json` (`added_tokens`, then `model.vocab`).
     * Tokenizers of another kind are not looked into: their hash stands in the manifest all the same.
     *
     * @return the refusal of the first token that is not there or has another id, or null.
     */
    fun refusal(tokenizer: TokenizerSpec, content: ByteArray): Refusal? {
        if (tokenizer.kind != "hf") return null
        val missing = missing(tokenizer.specialTokens, content, dropped = setOf("merges", "vocab"), ::addedTokens)
        if (missing.isEmpty()) return null
        val wrong = missing(missing, content, dropped = setOf("merges", "added_tokens"), ::vocabulary).firstOrNull()
        return wrong?.let { refusal(SentenceKey.TOKENIZER_MISMATCH, "token" to it.text, "id" to it.id) }
    }

    private fun missing(
        tokens: List<SpecialToken>,
        content: ByteArray,
        dropped: Set<String>,
        ids: (Json) -> Map<String, Long>,
    ): List<SpecialToken> {
        val found = try {
            ids(Json.readWithout(dropped, content))
        } catch (_: JsonError) {
            emptyMap()
        }
        return tokens.filter { found[it.text] != it.id }
    }

    private fun addedTokens(document: Json): Map<String, Long> {
        val items = ((document as? Json.Object)?.get("added_tokens") as? Json.Items)?.items ?: return emptyMap()
        return items.mapNotNull { item ->
            val token = item as? Json.Object
            val text = (token?.get("content") as? Json.Text)?.value
            val id = (token?.get("id") as? Json.Whole)?.value
            if (text == null || id == null) null else text to id
        }.toMap()
    }

    private fun vocabulary(document: Json): Map<String, Long> {
        val model = (document as? Json.Object)?.get("model") as? Json.Object
        val vocabulary = model?.get("vocab") as? Json.Object ?: return emptyMap()
        return vocabulary.entries.mapNotNull { (text, id) -> (id as? Json.Whole)?.let { text to it.value } }.toMap()
    }
}
