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
        allWarningsAsErrors.set(true)
    }
}

dependencies {
    testImplementation(libs.junit)
}

tasks.test {
    useJUnit()
    inputs.dir(rootDir.resolve("../tests/vectors"))
    systemProperty("pocketlm.vectors", rootDir.resolve("../tests/vectors").absolutePath)
}
