// What the user set for each package's chat, kept between starts; and which chat was open last.
package ai.pocketlm.app

import ai.pocketlm.core.ChatSettings
import ai.pocketlm.core.PackageId
import android.content.SharedPreferences

class Settings(private val preferences: SharedPreferences) {
    /** The package whose chat was opened last, or null. */
    var lastOpened: PackageId?
        get() = preferences.getString("last_opened", null)?.let { PackageId(it) }
        set(value) = preferences.edit().putString("last_opened", value?.sha256).apply()

    /** What the user last set for the package that is being opened. */
    fun ofLastOpened(): ChatSettings {
        val initial = ChatSettings()
        val id = lastOpened ?: return initial
        val temperature = preferences.getString("${id.short}.temperature", null)?.toDoubleOrNull()
        return ChatSettings(
            system = preferences.getString("${id.short}.system", null),
            temperature = temperature ?: initial.temperature,
            budget = preferences.getInt("${id.short}.budget", initial.budget),
        )
    }

    fun keep(id: PackageId, settings: ChatSettings) {
        preferences.edit()
            .putString("${id.short}.system", settings.system)
            .putString("${id.short}.temperature", settings.temperature.toString())
            .putInt("${id.short}.budget", settings.budget)
            .apply()
    }
}
