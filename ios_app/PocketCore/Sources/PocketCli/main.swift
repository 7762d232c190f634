// Drives the core as an app does, by JSON lines on stdin and stdout: the end-to-end tests' program.
import Foundation
import PocketCore

signal(SIGPIPE, SIG_IGN)
do {
    let commands = Commands(try Options(Array(CommandLine.arguments.dropFirst())))
    let input = LineReader(FileHandle.standardInput)
    while let line = input.next() {
        let answer: JsonValue
        do {
            guard let given = try commands.answer(Json.read(line)) else { break }
            answer = given
        } catch {
            answer = Wire.record(["error": .string(error.localizedDescription)])
        }
        FileHandle.standardOutput.write(Data(Wire.line(answer).utf8))
    }
} catch {
    FileHandle.standardError.write(Data((error.localizedDescription + "\n").utf8))
    exit(2)
}
