def total(int n):
    cdef int i, result = 0
    for i in range(n):
        result += i
    return result
