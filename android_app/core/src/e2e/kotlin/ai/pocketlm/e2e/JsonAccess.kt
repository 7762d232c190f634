// JSON values taken for what they must be; anything else is an error of whoever wrote them.
package ai.pocketlm.e2e

import ai.pocketlm.core.Json

fun Json.text(): String = (this as Json.Text).value

fun Json.number(): Long = (this as Json.Whole).value

fun Json.real(): Double = if (this is Json.Whole) value.toDouble() else (this as Json.Fraction).value

fun Json.flag(): Boolean = (this as Json.Bool).value

fun Json.items(): List<Json> = (this as Json.Items).items

fun Json.texts(): List<String> = items().map { it.text() }

fun Json.at(key: String): Json = (this as Json.Object)[key] ?: error("no $key in ${write()}")

/** The member, or null when it is missing or null. */
fun Json.find(key: String): Json? = (this as Json.Object)[key]?.orNull()

fun Json.orNull(): Json? = takeIf { it != Json.Null }

fun orNull(text: String?): Json = text?.let { Json.Text(it) } ?: Json.Null

fun orNull(number: Double?): Json = number?.let { Json.Fraction(it) } ?: Json.Null
