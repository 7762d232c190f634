import PocketCore

print(Sentences.text(.unloadedMemory))
