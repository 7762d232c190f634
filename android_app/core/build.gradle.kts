// Packages, chat and their states in plain Kotlin; its tests read the vectors of the repository.

plugins {
    alias(libs.plugins.kotlin.jvm)
}

java {
    sourceCompatibility = JavaVersion.VERSION_17
    targetCompatibility = JavaVersion.VERSION_17
}

kotlin {
    compilerOptions {
        jvmTarget.set(org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_17)
    }
    // The end-to-end program, whose JSON codecs the tests use; tests/apps drives it.
    sourceSets.named("test") { kotlin.srcDir("src/e2e/kotlin") }
}

dependencies {
    testImplementation(libs.junit)
}

tasks.test {
    useJUnit()
    inputs.dir(rootDir.resolve("../tests/vectors"))
    systemProperty("pocketlm.vectors", rootDir.resolve("../tests/vectors").absolutePath)
}
