import '../../strict'

process.emitWarning('planted: a warning in a child')
